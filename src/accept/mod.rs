//! The inbound thread: young connections, HTTP heads with deadlines, routes, admission.
