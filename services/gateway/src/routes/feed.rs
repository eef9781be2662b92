//! The followers of the services: how far each is, what it could not handle, and what an administrator does about it.

use actix_web::http::StatusCode;
use actix_web::{get, post};
use contracts::feed::consumer_service_client::ConsumerServiceClient;
use contracts::feed::{
    AdoptReply, AdoptRequest, ListConsumersReply, ListConsumersRequest, ListParkedRequest, ParkedFact, SettleReply,
    SettleRequest,
};
use contracts::{CallContext, Peer};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use vocabulary::Problem;

use crate::access::Scope;
use crate::door::{Query, Call, Document, Refusal, Reply, Service, json};
use crate::stream::readable;

super::routes!(list_consumers, list_parked_facts, retry_parked_fact, skip_parked_fact, adopt_source);

/// Which parked facts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ParkedQuery {
    /// The follower, SERVICE.NAME, e.g. `runs.follow_trials`.
    consumer: String,
    /// Entries of the page, 1 to 1000; 100 when absent.
    #[serde(default)]
    #[serde(deserialize_with = "super::page::size")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    page_size: i32,
    /// `next_page_token` of the page before.
    #[serde(default)]
    page_token: String,
}

/// A fact that its follower could not handle, or that waits behind one.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParkedFactView {
    /// The follower.
    consumer: String,
    /// `service@incarnation` of the log that the fact is of.
    source: String,
    /// The partition that `position` counts in.
    partition: i32,
    /// The fact's position.
    position: i64,
    /// What waits for it: facts of one lane are handled in order.
    lane: String,
    /// `poison` waits for a person, `waiting` is tried again by itself; empty for a fact behind its lane's first.
    cause: String,
    /// Why it did not go through.
    error: String,
    /// When it was parked, RFC 3339.
    parked_at: String,
    /// The fact's type.
    r#type: String,
    /// The stream that it is of.
    stream: String,
    /// What it says; absent for a type that is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    /// The encoded message, in hexadecimal digits.
    payload: String,
}

/// A page of parked facts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParkedFactsReply {
    /// By lane, in the order in which they will be handled.
    parked: Vec<ParkedFactView>,
    /// The next page; empty at the end.
    next_page_token: String,
}

/// Lists the services' followers: whom each follows, how far it is, what it has parked, and why it halted.
#[utoipa::path(tag = "feed", responses((status = 200, body = ListConsumersReply)))]
#[get("/api/v1/feed/consumers")]
pub(crate) async fn list_consumers(call: Call) -> Reply {
    call.principal.require(Scope::Admin)?;
    let mut consumers = Vec::new();
    for service in Service::ALL {
        let (mut client, context) = at(&call, service.name(), call.reading(service)?)?;
        let request = ListConsumersRequest { service: service.name().to_owned() };
        consumers.extend(client.list_consumers(context.attach(request)).await?.into_inner().consumers);
    }
    json(StatusCode::OK, &ListConsumersReply { consumers })
}

/// Lists the facts that a follower has parked.
#[utoipa::path(tag = "feed", params(ParkedQuery), responses((status = 200, body = ParkedFactsReply)))]
#[get("/api/v1/feed/parked")]
pub(crate) async fn list_parked_facts(call: Call, query: Query<ParkedQuery>) -> Reply {
    call.principal.require(Scope::Admin)?;
    let ParkedQuery { consumer, page_size, page_token } = query.into_inner();
    let service = service_of(&consumer)?;
    let (mut client, context) = at(&call, service.name(), call.reading(service)?)?;
    let request = ListParkedRequest { service: service.name().to_owned(), consumer, page_size, page_token };
    let reply = client.list_parked(context.attach(request)).await?.into_inner();
    let parked = reply.parked.into_iter().map(view).collect();
    json(StatusCode::OK, &ParkedFactsReply { parked, next_page_token: reply.next_page_token })
}

/// Handles a parked lane again, from its first fact on: done, or still parked and why.
#[utoipa::path(tag = "feed", request_body = SettleRequest, responses((status = 200, body = SettleReply)))]
#[post("/api/v1/feed/parked:retry")]
pub(crate) async fn retry_parked_fact(body: Document, call: Call) -> Reply {
    let (mut client, context, request) = settling(&body, &call).await?;
    let reply = client.retry_parked(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Gives a parked fact up for ever; its lane goes on behind it.
#[utoipa::path(tag = "feed", request_body = SettleRequest, responses((status = 200, body = SettleReply)))]
#[post("/api/v1/feed/parked:skip")]
pub(crate) async fn skip_parked_fact(body: Document, call: Call) -> Reply {
    let (mut client, context, request) = settling(&body, &call).await?;
    let reply = client.skip_parked(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Lets every follower of a service follow another incarnation of its log, from a position on.
#[utoipa::path(tag = "feed", request_body = AdoptRequest, responses((status = 200, body = AdoptReply)))]
#[post("/api/v1/feed:adopt")]
pub(crate) async fn adopt_source(body: Document, call: Call) -> Reply {
    call.principal.require(Scope::Admin)?;
    let request: AdoptRequest = body.message().await?;
    let (mut consumers, mut following) = (Vec::new(), None);
    for service in Service::ALL {
        let (mut client, context) = at(&call, service.name(), call.writing(body.hash())?)?;
        let request = AdoptRequest { service: service.name().to_owned(), ..request.clone() };
        match client.adopt_source(context.attach(request)).await {
            Ok(reply) => consumers.extend(reply.into_inner().consumers),
            // Those of one service may have adopted it before, when another could not be asked.
            Err(status) if contracts::problem_of(&status).code == "NotHalted" => following = Some(status),
            Err(status) => return Err(status.into()),
        }
    }
    if let Some(status) = following.filter(|_| consumers.is_empty()) {
        return Err(status.into());
    }
    if consumers.is_empty() {
        let detail = format!("nobody follows '{}': see the consumers' `follows`", request.source);
        return Err(Problem::new(404, "NotFound", detail).into());
    }
    json(StatusCode::OK, &AdoptReply { consumers })
}

type Client = ConsumerServiceClient<Peer>;

async fn settling(body: &Document, call: &Call) -> Result<(Client, CallContext, SettleRequest), Refusal> {
    call.principal.require(Scope::Admin)?;
    let request: SettleRequest = body.message().await?;
    let service = service_of(&request.consumer)?;
    let (client, context) = at(call, service.name(), call.writing(body.hash())?)?;
    Ok((client, context, SettleRequest { service: service.name().to_owned(), ..request }))
}

fn at(call: &Call, service: &str, context: CallContext) -> Result<(Client, CallContext), Problem> {
    let peer = call.peers().by_name(service);
    let peer = peer.ok_or_else(|| Problem::internal(format!("the service {service} has no peer")))?;
    let client = Client::new(peer.clone()).max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX);
    Ok((client, context))
}

/// The service that a follower belongs to.
fn service_of(consumer: &str) -> Result<Service, Problem> {
    let name = consumer.split('.').next().unwrap_or_default();
    name.parse().map_err(|_| {
        let detail = format!("'{consumer}': send SERVICE.NAME as the consumers are listed, such as runs.follow_trials");
        Problem::invalid("/consumer", "BadConsumer", detail)
    })
}

fn view(parked: ParkedFact) -> ParkedFactView {
    let fact = parked.fact.unwrap_or_default();
    let of = fact.source.split('@').next().unwrap_or_default();
    let service: Option<Service> = of.parse().ok();
    let parked_at = Timestamp::from_microsecond(parked.parked_at_us).unwrap_or_default();
    ParkedFactView {
        consumer: parked.consumer,
        partition: fact.partition,
        position: fact.position,
        lane: parked.lane,
        cause: parked.cause,
        error: parked.error,
        parked_at: format!("{parked_at:.6}"),
        data: service.and_then(|service| readable(service, &fact)),
        payload: hex::encode(&fact.payload),
        source: fact.source,
        r#type: fact.r#type,
        stream: fact.stream,
    }
}
