//! Every bound that is not a setting: its name, its unit, and what happens at it.
