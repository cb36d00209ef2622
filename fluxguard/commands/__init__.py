"""One module per command: `arguments(parser)`, `run(args)`. Nothing below knows the command line."""
