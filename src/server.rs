//! Builds everything once, pins and starts the threads, drains and stops on a signal.
