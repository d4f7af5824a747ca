"""What runs on the hosts: wire formats, protocol engines, and the runtime around them."""
