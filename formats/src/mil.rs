//! CoreML protobuf messages.
