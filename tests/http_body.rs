//! Bodies of requests: the two ways to tell a length, every way to tell two of them at once, and
//! chunks cut anywhere.

use proptest::prelude::*;
use vocaris::wire::http::{
    Body, BodyPart, BodyReader, CHUNK_EXTENSIONS_MAX, CHUNK_LINE_MAX, HeadDecoded, HttpError,
    TRAILERS_MAX, body, decode_request,
};

const BODY_MAX: u64 = 1_000;

/// The bytes of a body and what is left behind it, `None` while it has not ended, or why it is
/// refused.
type Ending = Result<Option<(Vec<u8>, Vec<u8>)>, HttpError>;

/// How long the body behind a POST with these header lines is.
fn framing(version: &str, lines: &str) -> Result<Body, HttpError> {
    let bytes = format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
    match decode_request(bytes.as_bytes())? {
        HeadDecoded::Head { head, .. } => body(&head),
        HeadDecoded::NeedMore => panic!("the head is whole"),
    }
}

/// Reads a body that comes in such pieces.
fn read(body: Body, bytes: &[u8], pieces: &[usize]) -> Ending {
    let mut reader = BodyReader::new(body, BODY_MAX)?;
    let (mut buf, mut rest, mut content) = (Vec::new(), bytes, Vec::new());
    let mut pieces = pieces.iter().cycle();
    loop {
        let piece = pieces.next().map_or(rest.len(), |&piece| piece.clamp(1, rest.len().max(1)));
        let piece = piece.min(rest.len());
        buf.extend_from_slice(&rest[..piece]);
        rest = &rest[piece..];
        loop {
            let (part, used) = reader.next(&buf)?;
            let at_end = match part {
                BodyPart::Bytes(bytes) => {
                    assert!(!bytes.is_empty());
                    content.extend_from_slice(bytes);
                    None
                }
                BodyPart::End => Some(true),
                BodyPart::NeedMore => Some(false),
            };
            buf.drain(..used);
            match at_end {
                Some(true) => {
                    assert_eq!(reader.next(&buf), Ok((BodyPart::End, 0)), "the end stays the end");
                    buf.extend_from_slice(rest);
                    return Ok(Some((content, buf)));
                }
                Some(false) => break,
                None => {}
            }
        }
        if rest.is_empty() {
            return Ok(None);
        }
    }
}

/// Reads chunks whole, cut in two at every position and byte by byte, always with the same end.
#[track_caller]
fn chunked(bytes: &[u8]) -> Ending {
    let whole = read(Body::Chunked, bytes, &[]);
    for cut in 1..bytes.len() {
        assert_eq!(read(Body::Chunked, bytes, &[cut, bytes.len()]), whole, "cut at {cut}");
    }
    assert_eq!(read(Body::Chunked, bytes, &[1]), whole);
    whole
}

#[track_caller]
fn content(bytes: &[u8]) -> Vec<u8> {
    match chunked(bytes) {
        Ok(Some((content, behind))) => {
            assert_eq!(behind, b"");
            content
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_tells_the_length_of_its_body_in_one_of_three_ways() {
    assert_eq!(framing("1.1", ""), Ok(Body::None));
    assert_eq!(framing("1.1", "Content-Length: 0\r\n"), Ok(Body::Length(0)));
    assert_eq!(framing("1.0", "Content-Length: 42\r\n"), Ok(Body::Length(42)));
    assert_eq!(framing("1.1", "Content-Length:\t007 \r\n"), Ok(Body::Length(7)));
    let longest = format!("Content-Length: {}\r\n", u64::MAX);
    assert_eq!(framing("1.1", &longest), Ok(Body::Length(u64::MAX)));
    assert_eq!(framing("1.1", "Transfer-Encoding: chunked\r\n"), Ok(Body::Chunked));
    assert_eq!(framing("1.1", "transfer-encoding:  CHUNKED \r\n"), Ok(Body::Chunked));
}

#[test]
fn a_length_that_is_not_a_plain_number_is_refused() {
    for value in ["", "-1", "+5", "0x5", "5 5", "5;", "5.0", "1e3", "five", "\u{665}", "\"5\""] {
        let line = format!("Content-Length: {value}\r\n");
        assert_eq!(framing("1.1", &line), Err(HttpError::BadLength), "{value}");
    }
    let line = "Content-Length: 18446744073709551616\r\n";
    assert_eq!(framing("1.1", line), Err(HttpError::BodyTooLong), "one more than 64 bits hold");
}

#[test]
fn two_lengths_are_refused_also_when_they_agree() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\ncontent-length: 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
    ] {
        assert_eq!(framing("1.1", lines), Err(HttpError::LengthTwice), "{lines}");
    }
}

#[test]
fn a_length_beside_a_transfer_coding_is_refused() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\r\nContent-Length: 5\r\n",
        "Content-Length: nonsense\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(framing("1.1", lines), Err(HttpError::LengthAndCoding), "{lines}");
        assert_eq!(framing("1.0", lines), Err(HttpError::LengthAndCoding), "{lines}");
    }
}

#[test]
fn a_transfer_coding_whose_end_cannot_be_told_is_refused() {
    for value in [
        "",
        "identity",
        "gzip",
        "xchunked",
        "chunked-x",
        "\"chunked\"",
        "chunked;q=1",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "chunked\r\nTransfer-Encoding:",
        "chunke\u{e9}",
    ] {
        let line = format!("Transfer-Encoding: {value}\r\n");
        assert_eq!(framing("1.1", &line), Err(HttpError::BadCoding), "{value}");
    }
    assert_eq!(framing("1.0", "Transfer-Encoding: chunked\r\n"), Err(HttpError::BadCoding));
    for value in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked", "identity,chunked"] {
        let line = format!("Transfer-Encoding: {value}\r\n");
        assert_eq!(framing("1.1", &line), Err(HttpError::UnknownCoding), "{value}");
    }
}

#[test]
fn a_body_of_known_length_ends_where_it_says_and_the_next_request_begins() {
    for pieces in [&[][..], &[1], &[3, 1, 9]] {
        let read = read(Body::Length(5), b"helloGET /", pieces);
        assert_eq!(read, Ok(Some((b"hello".to_vec(), b"GET /".to_vec()))));
    }
    assert_eq!(read(Body::Length(5), b"hell", &[]), Ok(None));
    assert_eq!(read(Body::None, b"GET /", &[]), Ok(Some((vec![], b"GET /".to_vec()))));
    assert_eq!(read(Body::Length(0), b"", &[]), Ok(Some((vec![], vec![]))));
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_arrives() {
    assert!(BodyReader::new(Body::Length(BODY_MAX), BODY_MAX).is_ok());
    for length in [BODY_MAX + 1, u64::MAX] {
        let refused = BodyReader::new(Body::Length(length), BODY_MAX).err();
        assert_eq!(refused, Some(HttpError::BodyTooLong));
    }
    assert_eq!(chunked(b"3e8\r\n"), Ok(None));
    assert_eq!(chunked(b"3e9\r\n"), Err(HttpError::BodyTooLong));
    assert_eq!(chunked(b"3e0\r\n"), Ok(None));
    let mut two = b"3e0\r\n".to_vec();
    two.extend([b'a'; 0x3e0]);
    two.extend(b"\r\n9\r\n");
    assert_eq!(read(Body::Chunked, &two, &[]), Err(HttpError::BodyTooLong));
    assert_eq!(chunked(b"ffffffffffffffff\r\n"), Err(HttpError::BodyTooLong));
    assert_eq!(chunked(b"10000000000000000\r\n"), Err(HttpError::BodyTooLong), "over 64 bits");
}

#[test]
fn chunks_are_put_together() {
    assert_eq!(content(b"0\r\n\r\n"), b"");
    assert_eq!(content(b"5\r\nhello\r\n0\r\n\r\n"), b"hello");
    assert_eq!(
        content(b"5\r\nhello\r\n1\r\n \r\n00000A\r\n0123456789\r\n000\r\n\r\n"),
        b"hello 0123456789"
    );
    assert_eq!(content(b"2\r\n\r\n\r\n0\r\n\r\n"), b"\r\n", "line ends within a chunk are content");
}

#[test]
fn what_follows_the_last_chunk_is_the_next_request() {
    let bytes = b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1";
    assert_eq!(chunked(bytes), Ok(Some((b"a".to_vec(), b"GET / HTTP/1.1".to_vec()))));
}

#[test]
fn extensions_and_trailers_are_passed_over() {
    assert_eq!(content(b"5;a=b;c=\"d e\";f\r\nhello\r\n0;last\r\n\r\n"), b"hello");
    assert_eq!(content(b"1\r\na\r\n0\r\nX-Sum: 1\r\nY:\r\nContent-Length: 9\r\n\r\n"), b"a");
}

#[test]
fn chunk_lines_of_another_shape_are_refused() {
    for line in ["", ";a", "g", "0x5", "+5", "-0", "5 ", " 5", "5\t;a", "5 ;a", "5,5", "\u{ff15}"] {
        let bytes = format!("{line}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(chunked(bytes.as_bytes()), Err(HttpError::BadChunk), "{line:?}");
    }
    for bytes in [&b"5\nhello\r\n"[..], b"5\r\r\nhello", b"5;a\0\r\n", b"5;a\rb\r\n", b"\n", b"0\n"]
    {
        assert_eq!(chunked(bytes), Err(HttpError::ForbiddenByte), "{bytes:?}");
    }
}

#[test]
fn a_chunk_ends_with_its_line_end_and_nothing_else() {
    for bytes in [
        &b"5\r\nhelloX\r\n0\r\n\r\n"[..],
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\rX",
        b"4\r\nhello\r\n0\r\n\r\n",
    ] {
        assert_eq!(chunked(bytes), Err(HttpError::BadChunk), "{bytes:?}");
    }
}

#[test]
fn trailers_of_another_shape_are_refused() {
    for trailer in ["no colon", "nocolon", "X : y", " folded", ": no name"] {
        let bytes = format!("0\r\n{trailer}\r\n\r\n");
        assert_eq!(chunked(bytes.as_bytes()), Err(HttpError::BadHeader), "{trailer:?}");
    }
    assert_eq!(chunked(b"0\r\nX: y\n\r\n"), Err(HttpError::ForbiddenByte));
    assert_eq!(chunked(b"0\r\nX: y\0\r\n\r\n"), Err(HttpError::ForbiddenByte));
}

#[test]
fn framing_that_is_longer_than_its_limits_is_refused() {
    let extension = |bytes: usize| format!("1;{}\r\na\r\n", "x".repeat(bytes - 1));
    content(format!("{}0\r\n\r\n", extension(CHUNK_LINE_MAX - 1)).as_bytes());
    assert_eq!(chunked(extension(CHUNK_LINE_MAX).as_bytes()), Err(HttpError::BadChunk));

    let many = extension(128).repeat(CHUNK_EXTENSIONS_MAX / 128);
    content(format!("{many}0\r\n\r\n").as_bytes());
    let one_more = format!("{many}0;\r\n\r\n");
    assert_eq!(chunked(one_more.as_bytes()), Err(HttpError::BadChunk));

    let trailer = format!("X: {}\r\n", "y".repeat(59));
    let many = trailer.repeat(TRAILERS_MAX / trailer.len());
    assert_eq!(many.len(), TRAILERS_MAX);
    assert_eq!(
        read(Body::Chunked, format!("0\r\n{many}\r\n").as_bytes(), &[700]).map(|b| b.is_some()),
        Ok(true)
    );
    let endless = format!("0\r\n{many}X: ");
    assert_eq!(
        read(Body::Chunked, endless.as_bytes(), &[]),
        Err(HttpError::TrailersTooLong),
        "before its line ends"
    );
    let one_more = format!("0\r\n{many}X: y\r\n\r\n");
    for pieces in [&[][..], &[1], &[700]] {
        let refused = read(Body::Chunked, one_more.as_bytes(), pieces);
        assert_eq!(refused, Err(HttpError::TrailersTooLong));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn chunks_of_any_sizes_in_any_cuts_give_the_body_back(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 0..12),
        pieces in prop::collection::vec(1_usize..40, 1..10),
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\nnext");
        let read = read(Body::Chunked, &bytes, &pieces);
        prop_assert_eq!(read, Ok(Some((chunks.concat(), b"next".to_vec()))));
    }

    #[test]
    fn damaged_chunks_end_the_same_way_in_any_cut(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        pieces in prop::collection::vec(1_usize..20, 1..10),
    ) {
        let good = "5;x=y\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nT: u\r\n\r\nnext";
        let mut bytes = good.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        prop_assert_eq!(read(Body::Chunked, &bytes, &pieces), read(Body::Chunked, &bytes, &[]));
    }
}
