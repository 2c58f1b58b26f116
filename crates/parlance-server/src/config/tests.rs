//! Claims about the configuration.
