//! The requests that the hub answers.

use super::address::{encoded, joined, same_origin, shown_origin};
use super::answer::{Facts, Listing, accept};
use super::config::HubConfig;
use super::failure::Failure;
use super::id::HubId;
use super::limit;
use super::problem::HubProblem;
use super::progress::Progress;
use super::waiting::Waits;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use ureq::http::Response;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, LOCATION, RANGE};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder, Timeout};

/// Redirects that are followed; the hub needs two.
const HOPS: usize = 5;
/// The largest list of files that is read; a list of ten thousand files has one megabyte.
const LARGEST_LISTING: u64 = 64 << 20;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(15);

/// A file of one commit of a model.
#[derive(Clone, Copy)]
pub(super) struct Remote<'a> {
    pub(super) id: &'a HubId,
    pub(super) commit: &'a str,
    pub(super) file: &'a str,
}

/// Speaks HTTP with the hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    waits: Waits,
}

impl Client {
    pub(super) fn new(config: &HubConfig, waits: Waits) -> Self {
        let agent = Agent::config_builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // Redirects are followed here: only here is it known where the token may go.
            .max_redirects(0)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(waits.silence))
            .timeout_per_read(Some(waits.silence))
            .build()
            .into();
        Self { agent, endpoint: config.endpoint.clone(), token: config.token.clone(), waits }
    }

    /// The commit of a revision, and the names of its files.
    pub(super) fn listing(&self, id: &HubId, progress: &mut dyn Progress) -> Result<Listing, Failure> {
        let what = "the list of files";
        let url =
            format!("{}/api/models/{}/revision/{}", self.endpoint, id.repo(), encoded(id.revision(), ""));
        let mut response = self.open_url(url.clone(), 0, what, progress)?;
        accept(&response, &url, id, None)?;
        let body = response.body_mut().with_config().limit(LARGEST_LISTING).read_to_vec();
        Listing::read(&url, &body.map_err(|error| lost(&url, what, error))?)
    }

    /// What the hub says of a file before it is transferred.
    pub(super) fn facts(&self, at: Remote<'_>, progress: &mut dyn Progress) -> Result<Facts, Failure> {
        let mut url = self.url(at);
        let mut facts = Facts::default();
        for _ in 0..HOPS {
            let response = self.request(true, &url, 0, at.file, progress)?;
            let next = next(&response, &url)?;
            if next.is_none() {
                accept(&response, &url, at.id, Some(at.file))?;
            }
            facts.note(&response);
            match next {
                // The hub renames models, and hands some files to a cache of its own. What another host says does not count.
                Some(next) if same_origin(&next, &self.endpoint) => url = next,
                _ => {
                    limit::within(at.file, facts.size.unwrap_or(0))?;
                    return facts.checked(&url);
                }
            }
        }
        Err(lost_way(&url))
    }

    /// The content of a file from a byte on; also 200 or 416, from a server that cannot give a part.
    pub(super) fn open(
        &self,
        at: Remote<'_>,
        from: u64,
        progress: &mut dyn Progress,
    ) -> Result<Response<Body>, Failure> {
        let url = self.url(at);
        let response = self.open_url(url.clone(), from, at.file, progress)?;
        if from == 0 || response.status() != 416 {
            accept(&response, &url, at.id, Some(at.file))?;
        }
        Ok(response)
    }

    fn url(&self, at: Remote<'_>) -> String {
        format!("{}/{}/resolve/{}/{}", self.endpoint, at.id.repo(), at.commit, encoded(at.file, "/"))
    }

    fn open_url(
        &self,
        mut url: String,
        from: u64,
        what: &str,
        progress: &mut dyn Progress,
    ) -> Result<Response<Body>, Failure> {
        for _ in 0..HOPS {
            let response = self.request(false, &url, from, what, progress)?;
            match next(&response, &url)? {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(lost_way(&url))
    }

    fn request(
        &self,
        head: bool,
        url: &str,
        from: u64,
        what: &str,
        progress: &mut dyn Progress,
    ) -> Result<Response<Body>, Failure> {
        let request = if head { self.agent.head(url) } else { self.agent.get(url) };
        // Sizes and offsets are those of the file, so it must come as it is.
        let mut request = request.header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = &self.token
            && same_origin(url, &self.endpoint)
        {
            if !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(HubProblem::Token.into());
            }
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.call(request, url, progress).map_err(|error| lost(url, what, error))
    }

    /// Asks on another thread, so that this one can say what takes long.
    fn call(
        &self,
        request: RequestBuilder<WithoutBody>,
        url: &str,
        progress: &mut dyn Progress,
    ) -> Result<Response<Body>, ureq::Error> {
        thread::scope(|scope| {
            let (sender, answer) = mpsc::channel();
            scope.spawn(move || drop(sender.send(request.call())));
            let what = || format!("waiting for an answer of {}", shown_origin(url));
            let gone = || Err(ureq::Error::ConnectionFailed);
            self.waits.receive(&answer, what, progress).unwrap_or_else(gone)
        })
    }
}

/// Where an answer sends us.
fn next(response: &Response<Body>, url: &str) -> Result<Option<String>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    match location.and_then(|location| joined(url, location)) {
        Some(next) => Ok(Some(next)),
        None => {
            let problem = format!("it redirects to {}", location.unwrap_or("nowhere"));
            Err(HubProblem::Answer { url: url.to_owned(), problem }.into())
        }
    }
}

fn lost_way(url: &str) -> Failure {
    let problem = format!("it redirects more than {HOPS} times");
    HubProblem::Answer { url: url.to_owned(), problem }.into()
}

/// No answer, or half of one.
fn lost(url: &str, what: &str, error: ureq::Error) -> Failure {
    let broke = match &error {
        ureq::Error::Io(error) => is_break(error.kind()),
        ureq::Error::Timeout(timeout) => !matches!(timeout, Timeout::Resolve | Timeout::Connect),
        ureq::Error::Protocol(_) => true,
        _ => false,
    };
    let source = Box::new(error);
    match broke {
        true => HubProblem::Cut { file: what.to_owned(), got: 0, expected: None, source }.into(),
        false => HubProblem::Unreachable { host: shown_origin(url), source }.into(),
    }
}

/// Whether there was a connection. A certificate that is not trusted comes as invalid data: that does not pass.
fn is_break(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof)
}
