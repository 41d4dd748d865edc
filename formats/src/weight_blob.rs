//! weight.bin.
