"""fluxguard: stops FluxLoop API keys at the commit, finds them in history, repairs the leak."""

__version__ = "0.1.0"
__all__ = ["__version__"]
