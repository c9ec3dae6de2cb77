//! Counts, times and logs each request.

mod recorder;
mod service;

use std::net::IpAddr;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, header};
use stanchion_core::Instant;

use crate::exchange::{Ending, Note, Request, Response};
use crate::trace::TraceId;

pub(crate) use recorder::Recorder;
pub(crate) use service::RecordLayer;

/// One request's record, closed when it is dropped: with the end of the response's body, or
/// earlier if the client leaves.
///
/// Boxed, since it goes from future to future and into the response.
#[derive(Debug)]
pub(crate) struct Record(Box<Facts>);

/// What is known of a request.
#[derive(Debug)]
struct Facts {
    recorder: Arc<Recorder>,
    started: Instant,
    method: Method,
    status: Option<StatusCode>,
    bytes: u64,
    ending: Ending,
    note: Note,
    entry: Option<Entry>,
}

/// What only the access log wants to know. Cloning these counts references and copies nothing.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: HeaderValue,
    pub(crate) trace: Option<TraceId>,
    pub(crate) client: IpAddr,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) path: Option<PathAndQuery>,
}

impl Record {
    pub(crate) fn begin(recorder: &Arc<Recorder>, request: &Request) -> Self {
        recorder.begins();
        let origin = request.body().origin();
        Self(Box::new(Facts {
            recorder: recorder.clone(),
            started: origin.started,
            method: request.method().clone(),
            status: None,
            bytes: 0,
            ending: Ending::default(),
            note: Note::default(),
            entry: recorder.logs().then(|| Entry {
                id: origin.id.clone(),
                trace: origin.trace,
                client: origin.client.address,
                host: request.headers().get(header::HOST).cloned(),
                path: request.uri().path_and_query().cloned(),
            }),
        }))
    }

    /// The record of a request that was refused before it was one.
    pub(crate) fn refused(
        recorder: &Arc<Recorder>,
        started: Instant,
        method: Method,
        entry: Entry,
    ) -> Self {
        recorder.begins();
        Self(Box::new(Facts {
            recorder: recorder.clone(),
            started,
            method,
            status: None,
            bytes: 0,
            ending: Ending::default(),
            note: Note::default(),
            entry: recorder.logs().then_some(entry),
        }))
    }

    /// Goes along with the response, to its end.
    pub(crate) fn answered(mut self, response: &mut Response) {
        self.0.status = Some(response.status());
        self.0.note = response.body().note().clone();
        response.body_mut().recorded_by(self);
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.0.bytes += bytes as u64;
    }

    pub(crate) fn ended(&mut self, ending: Ending) {
        self.0.ending = ending;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.0.recorder.close(&self.0);
    }
}
