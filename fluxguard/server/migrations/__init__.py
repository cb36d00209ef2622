"""The database's layout, step by step (Alembic)."""
