//! Work that may block, off the media path: log lines of calls, the figures page.
