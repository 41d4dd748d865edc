//! Sub-byte codes as one little-endian bit stream.
