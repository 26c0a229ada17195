//! Who may enter: the paths of the service, and the forms of a credential.
//!
//! In:       the request of an upgrade.
//! Out:      an [`Entry`], or the [`Complaint`] it is refused for.
//! Bounds:   none of its own.
//! Not here: the answer (`gemini::server`).

use tungstenite::handshake::server::Request;

use super::protocol::Complaint;
use super::record::{Credential, Entry};

/// Where the service answers, version `v1beta`.
pub const PATH: &str =
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";

/// The method as the developer service names it; a version stands before it.
const DEVELOPER: &str = "/ws/google.ai.generativelanguage.";
const DEVELOPER_METHOD: &str = ".GenerativeService.BidiGenerateContent";

/// The method as Vertex names it; a version stands before it.
const VERTEX: &str = "/ws/google.cloud.aiplatform.";
const VERTEX_METHOD: &str = ".LlmBidiService/BidiGenerateContent";

/// What clients must name and show.
#[derive(Clone, Debug)]
pub enum Entrance {
    /// This path without a query, and the key in `x-goog-api-key`; for Vertex's path, in
    /// `Authorization: Bearer`.
    Exact(String),
    /// Any path and any form of credential that official clients were seen to use.
    Documented,
}

/// Judges a request.
pub fn judge(entrance: &Entrance, key: &str, request: &Request) -> Result<Entry, Complaint> {
    let full = request.uri().path_and_query().map_or("", |path| path.as_str());
    let (path, query) = full.split_once('?').unwrap_or((full, ""));
    let vertex = match entrance {
        Entrance::Exact(expected) if full == expected => full.starts_with(VERTEX),
        Entrance::Exact(_) => return Err(Complaint::Path(path.to_string())),
        Entrance::Documented => {
            documented(path).ok_or_else(|| Complaint::Path(path.to_string()))?
        }
    };
    let header = |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok());
    let authorization = header("authorization").and_then(|it| {
        it.strip_prefix("Bearer ").or_else(|| it.strip_prefix("Token ")).map(str::trim)
    });
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(it, _)| *it == name).map(|(_, value)| value).next()
    };
    let shown = [
        (Credential::KeyHeader, header("x-goog-api-key")),
        (Credential::Authorization, authorization),
        (Credential::KeyQuery, parameter("key")),
        (Credential::TokenQuery, parameter("access_token")),
    ];
    let wanted = |form: Credential| match entrance {
        Entrance::Documented => true,
        Entrance::Exact(_) if vertex => form == Credential::Authorization,
        Entrance::Exact(_) => form == Credential::KeyHeader,
    };
    let found = shown.into_iter().find(|(form, it)| wanted(*form) && *it == Some(key));
    found.map(|(credential, _)| Entry { vertex, credential }).ok_or(Complaint::Key)
}

/// True for a path of Vertex, false for one of the developer service, `None` for another. Official
/// clients begin with two slashes.
fn documented(path: &str) -> Option<bool> {
    let path = if path.starts_with("//") { &path[1..] } else { path };
    let version = |prefix: &str, method: &str| {
        path.strip_prefix(prefix)?.strip_suffix(method).map(str::to_string)
    };
    if let Some(version) = version(VERTEX, VERTEX_METHOD) {
        return ["v1", "v1beta1"].contains(&&*version).then_some(true);
    }
    let path = path.strip_suffix("Constrained").unwrap_or(path);
    let version = path.strip_prefix(DEVELOPER)?.strip_suffix(DEVELOPER_METHOD)?;
    ["v1", "v1beta", "v1alpha"].contains(&version).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, header: Option<(&str, &str)>) -> Request {
        let mut request = Request::builder().uri(path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn every_documented_way_in_is_open_and_no_other() {
        let vertex = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent";
        let constrained = format!("/{PATH}Constrained");
        let query = format!("{PATH}?alt=x&key=K");
        let token = format!("{}?access_token=K", PATH.replace("v1beta", "v1alpha"));
        for (path, header, expected) in [
            (PATH, Some(("x-goog-api-key", "K")), Some((false, Credential::KeyHeader))),
            (&*query, None, Some((false, Credential::KeyQuery))),
            (&*token, None, Some((false, Credential::TokenQuery))),
            (
                &*constrained,
                Some(("authorization", "Token K")),
                Some((false, Credential::Authorization)),
            ),
            (vertex, Some(("authorization", "Bearer K")), Some((true, Credential::Authorization))),
            (vertex, Some(("x-goog-api-key", "K")), Some((true, Credential::KeyHeader))),
            (PATH, None, None),
            (PATH, Some(("x-goog-api-key", "k")), None),
            ("/ws/other", Some(("x-goog-api-key", "K")), None),
            (&PATH.replace("v1beta", "v9"), Some(("x-goog-api-key", "K")), None),
        ] {
            let judged = judge(&Entrance::Documented, "K", &request(path, header));
            let judged = judged.ok().map(|entry| (entry.vertex, entry.credential));
            assert_eq!(judged, expected, "{path} {header:?}");
        }
    }

    #[test]
    fn a_stand_in_for_one_relay_takes_one_path_and_one_form() {
        let exact = Entrance::Exact(PATH.to_string());
        let key = Some(("x-goog-api-key", "K"));
        assert!(judge(&exact, "K", &request(PATH, key)).is_ok());
        for (path, header) in [
            (format!("{PATH}?key=K"), None),
            (format!("{PATH}?key=K"), key),
            (format!("/{PATH}"), key),
            (PATH.to_string(), Some(("authorization", "Bearer K"))),
        ] {
            assert!(judge(&exact, "K", &request(&path, header)).is_err(), "{path}");
        }
    }
}
