//! Vertex: its path, its names, its access tokens.

use super::*;

/// A file of this test's own.
fn scratch_file(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("vocaris-dial-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn vertex(tokens: Option<TokenSource>) -> impl FnOnce(&mut Gemini) {
    move |gemini| {
        gemini.api_version = "v1beta1".to_owned();
        let project = Some("my-project".to_owned());
        let location = "europe-west4".to_owned();
        gemini.flavor = Flavor::Vertex(Vertex { project, location, tokens });
    }
}

/// A server that tells the head of every request and then answers as `answer` says: with 101 and
/// readiness, or with this status.
fn serve_heads(
    told: std::sync::mpsc::Sender<String>,
    answer: impl Fn(usize, &str) -> Option<u16> + Send + Sync + 'static,
) -> ModelUrl {
    serve(move |index, mut socket| {
        let head = read_head(&mut socket);
        let refused = answer(index, &head);
        told.send(head.clone()).unwrap();
        if let Some(status) = refused {
            write!(socket, "HTTP/1.1 {status} No\r\n\r\n").unwrap();
            return hold(socket);
        }
        socket.write_all(accept_of(&head).as_bytes()).unwrap();
        let mut session = WebSocket::from_raw_socket(socket, Role::Server, None);
        let setup: Value =
            serde_json::from_str(session.read().unwrap().to_text().unwrap()).unwrap();
        let model = setup["setup"]["model"].as_str().unwrap().to_owned();
        told.send(model).unwrap();
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    })
}

#[test]
fn vertex_is_asked_with_an_access_token_by_its_own_path_and_names() {
    let file = scratch_file("token-1");
    std::fs::write(&file, "ya29.first\n").unwrap();
    let (told, heard) = channel();
    let url = serve_heads(told, |_, _| None);
    let outbound = Outbound::with(url, PATIENT, vertex(Some(TokenSource::File(file))));
    outbound.order(3);
    let line = outbound.line();
    assert!(line.terms.transparent);
    let head = heard.recv().unwrap();
    assert_eq!(
        head.lines().next().unwrap(),
        "GET /ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent HTTP/1.1"
    );
    assert_eq!(field(&head, "Authorization"), Some("Bearer ya29.first"));
    assert_eq!(field(&head, "x-goog-api-key"), None, "the token is the proof, not the key");
    assert_eq!(
        heard.recv().unwrap(),
        "projects/my-project/locations/europe-west4/publishers/google/models/gemini-3.8-live"
    );
}

#[test]
fn vertex_with_an_express_key_names_no_project() {
    let (told, heard) = channel();
    let outbound = Outbound::with(serve_heads(told, |_, _| None), PATIENT, vertex(None));
    outbound.order(3);
    drop(outbound.line());
    let head = heard.recv().unwrap();
    assert_eq!(field(&head, "x-goog-api-key"), Some("key-of-the-test"));
    assert_eq!(field(&head, "Authorization"), None);
    assert_eq!(heard.recv().unwrap(), "publishers/google/models/gemini-3.8-live");
}

#[test]
fn an_access_token_that_is_refused_is_renewed_once() {
    let file = scratch_file("token-2");
    std::fs::write(&file, "ya29.old").unwrap();
    let (told, heard) = channel();
    let renewed = file.clone();
    let url = serve_heads(told, move |_, head| {
        let is_new = field(head, "Authorization") == Some("Bearer ya29.new");
        // Somebody else keeps the file fresh.
        std::fs::write(&renewed, "ya29.new").unwrap();
        (!is_new).then_some(401)
    });
    let outbound = Outbound::with(url, PATIENT, vertex(Some(TokenSource::File(file))));
    outbound.order(3);
    drop(outbound.line());
    assert_eq!(field(&heard.recv().unwrap(), "Authorization"), Some("Bearer ya29.old"));
    assert_eq!(field(&heard.recv().unwrap(), "Authorization"), Some("Bearer ya29.new"));
    assert_eq!(outbound.shared.dials.all(), [("ready", 1), ("refused", 1)]);

    let file = scratch_file("token-3");
    std::fs::write(&file, "ya29.never").unwrap();
    let (told, heard) = channel();
    let url = serve_heads(told, |_, _| Some(401));
    let outbound = Outbound::with(url, PATIENT, vertex(Some(TokenSource::File(file))));
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Refused { status: 401 });
    assert_eq!(heard.try_iter().count(), 2, "once more with another token, and no third time");
}

#[test]
fn a_token_that_a_command_prints_is_used_and_one_that_cannot_be_had_is_told() {
    let (told, heard) = channel();
    let command = ["echo", "ya29.printed"].map(str::to_owned).to_vec();
    let tokens = Some(TokenSource::Command(command));
    let outbound = Outbound::with(serve_heads(told, |_, _| None), PATIENT, vertex(tokens));
    outbound.order(3);
    drop(outbound.line());
    assert_eq!(field(&heard.recv().unwrap(), "Authorization"), Some("Bearer ya29.printed"));

    let (told, heard) = channel();
    let tokens = Some(TokenSource::File("/nowhere/at/all".into()));
    let outbound = Outbound::with(serve_heads(told, |_, _| None), PATIENT, vertex(tokens));
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::NoToken);
    assert!(heard.try_recv().is_err(), "nothing is asked without proof");
}
