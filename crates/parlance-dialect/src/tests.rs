//! Claims about what a dialect is given to read and to write with.

mod basics;
mod forms;
mod jsons;
mod settings;
mod wires;
