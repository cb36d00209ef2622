"""The web console: server-rendered pages in the words of FluxLoop's documentation."""
