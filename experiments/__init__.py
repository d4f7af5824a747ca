"""What we ask of the network: one file an experiment."""
