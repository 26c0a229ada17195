//! Counters, latency histograms, exposition text.
