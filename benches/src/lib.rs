//! The harness of all comparisons.
