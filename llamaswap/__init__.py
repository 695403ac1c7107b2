"""llamaswap: one address and one YAML file in front of every model server on your machine."""

__version__ = "0.1.0"
