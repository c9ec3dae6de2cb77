//! Resilience and scaling.
