//! What the hub refuses, and what it gives wrongly: one clear error, and nothing under a final name.

use crate::model::{WEIGHTS, World, id, sha256, usual, weights};
use crate::server::{Reply, Seen, Server};
use beit_weights::{Error, Hub, HubConfig, HubProblem, NoProgress};

fn message(world: &World) -> String {
    let error = world.client().fetch(&id(), &mut NoProgress).unwrap_err();
    assert!(!world.snapshot().join(WEIGHTS).exists());
    error.to_string()
}

fn assert_has(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains('\n') && !message.ends_with('.'), "{message}");
}

#[test]
fn no_such_model() {
    let world = World::of(usual());
    let error = world.client().fetch(&"org/other".parse().unwrap(), &mut NoProgress).unwrap_err();
    assert_has(&error.to_string(), &["cannot fetch org/other", "no such model", "HF_TOKEN"]);
    let revision =
        World::with(usual(), |_, _| Reply::status(404).with("x-error-code", "RevisionNotFound"), |_, r| r);
    let error = revision.client().fetch(&"org/beit@nine".parse().unwrap(), &mut NoProgress).unwrap_err();
    assert_has(&error.to_string(), &["org/beit@nine", "no branch, tag or commit"]);
}

#[test]
fn no_such_file() {
    let world = World::of(usual());
    let error = world.client().fetch_file(&id(), "encoder.pkl", &mut NoProgress).unwrap_err();
    assert_has(&error.to_string(), &["org/beit", "no encoder.pkl", "README.md, config.json"]);
    let error = world.client().fetch_file(&id(), "../../x", &mut NoProgress).unwrap_err();
    assert_has(&error.to_string(), &["`../../x` is no name of a file"]);
    // A file that is listed and yet not there.
    let gone = |seen: &Seen, reply: Reply| match seen.path.ends_with("/config.json") {
        true => Reply::status(404).with("x-error-code", "EntryNotFound"),
        false => reply,
    };
    assert_has(&message(&World::with(usual(), gone, |_, reply| reply)), &["it has no config.json"]);
}

#[test]
fn no_weights() {
    let world = World::of(vec![("config.json", b"{}".to_vec()), ("beit.pth", weights(10))]);
    assert_has(
        &message(&world),
        &["neither model.safetensors nor pytorch_model.bin", "config.json, beit.pth"],
    );
    let world = World::of(vec![(WEIGHTS, weights(10))]);
    assert_has(&message(&world), &["it has no config.json"]);
}

#[test]
fn shards_that_lead_out() {
    let index = "{\"weight_map\": {\"a\": \"../../../evil\"}}";
    let world =
        World::of(vec![("config.json", b"{}".to_vec()), ("model.safetensors.index.json", index.into())]);
    assert_has(&message(&world), &["asks for the file `../../../evil`"]);
}

#[test]
fn gated_models() {
    for status in [401, 403] {
        let world = World::with(usual(), move |_, _| Reply::status(status), |_, reply| reply);
        let page = format!("{}/org/beit", world.hub.url());
        assert_has(&message(&world), &["HF_TOKEN", "licence", &page, &status.to_string()]);
        assert_eq!(world.requests(), 1);
    }
}

#[test]
fn a_hub_that_fails() {
    let world = World::with(usual(), |_, _| Reply::status(502), |_, reply| reply);
    assert_has(&message(&world), &["answered 502", "try again later"]);
    assert_eq!(world.requests(), 3);
}

#[test]
fn no_hub_at_all() {
    for body in ["<html>", "{}", "{\"sha\": \"../..\", \"siblings\": []}"] {
        let world = World::with(usual(), move |_, _| Reply::body(body), |_, reply| reply);
        assert_has(&message(&world), &["is not what a hub answers", "HF_ENDPOINT"]);
    }
    let etag = |seen: &Seen, reply: Reply| match seen.method.as_str() {
        "HEAD" => Reply::body("x").with("etag", "\"../../x\""),
        _ => reply,
    };
    assert_has(&message(&World::with(usual(), etag, |_, reply| reply)), &["its etag is \"../../x\""]);
    let circle = |_: &Seen, _: Reply| Reply::status(302).with("location", "/round");
    assert_has(&message(&World::with(usual(), circle, |_, reply| reply)), &["redirects more than"]);
}

#[test]
fn wrong_sizes() {
    for len in [200_000, 400_000] {
        let world = World::with(usual(), |_, reply| reply, move |_, _| Reply::body(weights(len)));
        let found = format!("{len} bytes");
        assert_has(&message(&world), &[WEIGHTS, &found, "announced 300000", "discarded"]);
        assert!(!world.part().exists());
    }
    // Without a length the excess shows only as it arrives.
    let endless = |_: &Seen, _: Reply| {
        let body = [b"64000\r\n".as_slice(), &weights(0x64000), b"\r\n0\r\n\r\n"].concat();
        Reply::body(body).with("transfer-encoding", "chunked")
    };
    let world = World::with(usual(), |_, reply| reply, endless);
    assert_has(&message(&world), &["announced 300000", "discarded"]);
    assert!(!world.part().exists());
}

#[test]
fn wrong_bytes() {
    let world = World::with(usual(), |_, reply| reply, |_, _| Reply::body(vec![7; 300_000]));
    let (found, expected) = (sha256(&vec![7; 300_000]), sha256(&weights(300_000)));
    assert_has(&message(&world), &[WEIGHTS, &found, &expected, "discarded"]);
    assert!(!world.part().exists());
}

#[test]
fn a_dead_endpoint() {
    let world = World::of(usual());
    let closed = Server::new(|_| Reply::status(500)).url();
    let hub = Hub::new(HubConfig { endpoint: closed.clone(), ..world.config() });
    let error = hub.fetch(&id(), &mut NoProgress).unwrap_err();
    assert!(matches!(error, Error::Hub { problem: HubProblem::Unreachable { .. }, .. }), "{error:?}");
    assert_has(&error.to_string(), &[&closed, "cannot be reached", "HF_HUB_OFFLINE", "local folder"]);
    assert_eq!(world.requests(), 0);
}

#[test]
fn an_endpoint_without_tls() {
    let world = World::of(usual());
    let endpoint = world.hub.url().replace("http:", "https:");
    let hub =
        Hub::new(HubConfig { endpoint: endpoint.clone(), token: Some("hf_secret".into()), ..world.config() });
    let error = hub.fetch(&id(), &mut NoProgress).unwrap_err().to_string();
    assert!(error.contains(&endpoint) || error.contains("the list of files broke off"), "{error}");
    assert_eq!(world.requests(), 0);
}

#[test]
fn a_token_that_cannot_be_sent() {
    let world = World::of(usual());
    let hub = Hub::new(HubConfig { token: Some("two\nlines".to_owned()), ..world.config() });
    assert_has(&hub.fetch(&id(), &mut NoProgress).unwrap_err().to_string(), &["the token has characters"]);
}
