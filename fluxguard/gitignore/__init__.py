"""Which secret-bearing paths .gitignore leaves uncovered, the lines that would cover them, and what no line can mend."""
