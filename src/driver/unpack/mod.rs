//! Layers unpacked from tar streams, verified while they stream.
