//! Claims about forms, Basic and JSON.
