//! One media thread: the turn, the slots of its calls, their timers.
