//! Claims about what a dialect is given to read and to write with.

mod basics;
mod forms;
mod guards;
mod jsons;
mod multiparts;
mod settings;
mod wires;
