//! Codes → lane orders.
