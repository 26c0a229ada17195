//! The configuration: one checked structure, from TOML and the environment.
