//! What becomes a graph.
