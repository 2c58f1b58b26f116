//! What the gRPC promises.

mod messages;
