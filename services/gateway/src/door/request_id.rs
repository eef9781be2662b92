//! The id under which the log speaks of a request.

/// The id of the request, in its extensions.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);
