//! The letters between threads.
