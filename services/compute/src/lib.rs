//! Placeholder of the rest; the modules below are endpoints' part.
mod api {
    pub(crate) mod endpoints;
    pub(crate) mod endpoints_deployments;
    pub(crate) mod endpoints_document;
    pub(crate) mod endpoints_shown;
    pub(crate) mod routes;
}
mod endpoint;
mod publish_endpoints;
mod reactions {
    pub(crate) mod replica_logs;
    pub(crate) mod replica_plan;
    pub(crate) mod replicas;
}
mod serving;
mod views {
    pub(crate) mod endpoints;
}
