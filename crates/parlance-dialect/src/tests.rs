//! Tests of the parsers, encoders and guards that all dialects share.

mod basics;
mod forms;
mod guards;
mod jsons;
mod multiparts;
mod settings;
mod wires;
