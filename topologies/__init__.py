"""What the network looks like: nodes, links, addresses, routing."""
