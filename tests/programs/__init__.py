"""A referee: random programs over the public interface, beside an oracle that shares nothing with `xpnet.core`."""
