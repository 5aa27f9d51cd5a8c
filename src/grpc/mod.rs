//! The gRPC front end: converts messages to drafts of the model, calls the app and converts its
//! results to messages. It makes no decisions. Files are named after resources, as in the HTTP front
//! end. The comments in `proto/ipvsd/v1` are the reference of the API.

mod access;
mod api;
mod applied;
mod audit;
mod batch;
mod connections;
mod convert;
mod drains;
mod encode;
mod health;
mod health_check_message;
mod info;
mod ipvs_service;
mod lazy;
mod list_services;
mod listing;
mod media_type;
mod metadata;
mod options;
mod protocol;
mod router;
mod rules;
mod server_health;
mod server_message;
mod servers;
mod service_message;
mod services;
mod settings;
mod stats;
mod stats_stream;
mod status;
mod sync_daemons;
mod table_message;
mod tables;
#[cfg(test)]
mod tests;
mod text_stream;
mod timeouts;
mod watch;
mod zero;

pub use media_type::{is_grpc, is_web, media_type};
pub use metadata::is_write;
pub use options::{Draining, GrpcOptions};
pub use router::router;
pub use server_message::SERVER_TAGS;
pub use status::{ERROR_DOMAIN, code, refusal, status, unimplemented_fallback};
pub use table_message::{FLAG_TAG, TABLE_TAGS};
