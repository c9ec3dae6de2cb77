//! Rings as other software builds them, so that both send a key to the same server.

use std::num::NonZeroU32;

use md5::{Digest, Md5};

use super::{POINTS_MAX, Points, Ring};
use crate::roster::Roster;
use crate::{InvalidTable, Node};

/// Points for a weight of 1, in nginx.
const NGINX: Points = Points::new(const { NonZeroU32::new(160).expect("160 is not 0") });
/// How many times a server is hashed, on average, by libketama; each gives four points.
const KETAMA_HASHES: f64 = 40.0;

impl Ring {
    /// The ring of libketama, which memcached's clients share: needs feature `ketama`.
    ///
    /// The ids are as they stand in the list of servers, such as `10.0.1.1:11211`. Look up the
    /// [`libketama_hash`](crate::engine::libketama_hash) of a key. A server whose share of the
    /// weights is less than 1 in 40 times the servers has no points, and is no owner at all.
    ///
    /// # Errors
    ///
    /// There must be a node with a weight, no two with the same id, and at most 2²³ points.
    ///
    /// # Source
    ///
    /// libketama's `ketama_create_continuum`. Where two servers have the same point, the smaller id
    /// has it; there, it is up to the sort of the C library.
    pub fn libketama(nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        let roster = Roster::new(nodes)?;
        let weights = roster.weights();
        let count = roster.by_id().len();
        bounded(160 * count as u64)?;
        let mut drawn = Vec::with_capacity(160 * count);
        for (index, node) in roster.by_id() {
            let hashes = libketama_hashes(node.weight(), weights.sum(), count);
            for k in 0..hashes {
                let mut md5 = Md5::new_with_prefix(node.id());
                md5.update(format!("-{k}"));
                let digest: [u8; 16] = md5.finalize().into();
                for four in digest.as_chunks::<4>().0 {
                    drawn.push((widened(u32::from_le_bytes(*four)), index));
                }
            }
        }
        Ok(Self::of(&drawn, weights))
    }

    /// The ring of nginx's `hash … consistent`: needs feature `ketama`.
    ///
    /// The ids are as they stand in `server`, such as `127.0.0.1:7777`. Look up the
    /// [`nginx_hash`](crate::engine::nginx_hash) of a key.
    ///
    /// # Errors
    ///
    /// There must be a node with a weight, no two with the same id, and at most 2²³ points, of which
    /// each unit of weight takes 160.
    ///
    /// # Source
    ///
    /// nginx's `ngx_http_upstream_init_chash`. Where two servers have the same point, the smaller id
    /// has it; there, it is up to the sort of the C library.
    pub fn nginx(nodes: &[Node<'_>]) -> Result<Self, InvalidTable> {
        let roster = Roster::new(nodes)?;
        let points = roster.by_id().map(|(_, node)| NGINX.of(node.weight()));
        bounded(points.fold(0, u64::saturating_add))?;
        let mut drawn = Vec::new();
        for (index, node) in roster.by_id() {
            let mut server = crc32fast::Hasher::new();
            let (host, port) = host_and_port(node.id());
            server.update(host);
            server.update(&[0]);
            server.update(port);
            let mut point = 0_u32;
            for _ in 0..NGINX.of(node.weight()) {
                let mut hash = server.clone();
                hash.update(&point.to_le_bytes());
                point = hash.finalize();
                drawn.push((widened(point), index));
            }
        }
        Ok(Self::of(&drawn, roster.weights()))
    }
}

/// How many times a server is hashed, with single precision where libketama has it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "as in C, and at most 40 times the servers"
)]
fn libketama_hashes(weight: u32, sum: u64, servers: usize) -> u32 {
    let share = weight as f32 / sum as f32;
    let hashes = f64::from(share) * KETAMA_HASHES * servers as f64;
    (hashes as f32).floor() as u32
}

fn bounded(points: u64) -> Result<(), InvalidTable> {
    if points <= POINTS_MAX {
        return Ok(());
    }
    Err(InvalidTable::TooManyPoints {
        points,
        max: POINTS_MAX,
    })
}

/// Points of 32 bits are the upper halves of ours.
pub(crate) const fn widened(point: u32) -> u64 {
    (point as u64) << 32
}

/// A server's name in two parts, as nginx has them: digits at the end behind a colon are the port.
fn host_and_port(id: &[u8]) -> (&[u8], &[u8]) {
    if let Some((unix, path)) = id.split_at_checked(5)
        && unix.eq_ignore_ascii_case(b"unix:")
    {
        return (path, &[]);
    }
    let digits = id.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let (before, port) = id.split_at(id.len() - digits.count());
    match before.strip_suffix(b":") {
        Some(host) => (host, port),
        None => (id, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConsistentHash;
    use crate::engine::{libketama_hash, nginx_hash};

    #[test]
    fn the_ring_of_nginx_is_as_there() {
        let nodes = ["127.0.0.1:7777", "127.0.0.1:7778"].map(Node::from);
        let ring = Ring::nginx(&nodes).unwrap();
        assert_eq!(ring.points(), 320);
        let smallest = [(1_475_464, 0), (14_414_652, 1), (29_299_196, 1)];
        for (at, (point, owner)) in smallest.into_iter().enumerate() {
            assert_eq!(ring.points[at], widened(point));
            assert_eq!(ring.owner(widened(point)), owner);
        }
        assert_eq!(ring.owner(nginx_hash(b"/some/path")), 1);
        assert_eq!(ring.owner(nginx_hash(b"/some/longer/path")), 0);
        let heavy = Ring::nginx(&[nodes[0].with_weight(3), nodes[1]]).unwrap();
        assert_eq!(heavy.points(), 640);
    }

    #[test]
    fn the_ring_of_libketama_is_as_there() {
        let weights = [600, 300, 200, 350, 1_000, 800, 950, 100];
        let names: Vec<String> = (1..=8).map(|n| format!("10.0.1.{n}:11211")).collect();
        let nodes = names.iter().zip(weights);
        let nodes: Vec<_> = nodes
            .map(|(name, weight)| Node::new(name).with_weight(weight))
            .collect();
        let ring = Ring::libketama(&nodes).unwrap();
        assert_eq!(ring.points(), 1_264);
        for (key, hash, point, owner) in [
            ("0", 2_216_742_351, 2_217_271_743, 0),
            ("1", 943_901_380, 949_045_552, 4),
        ] {
            let found = libketama_hash(key.as_bytes());
            assert_eq!(found, widened(hash));
            assert_eq!(ring.points[ring.point_of(found)], widened(point));
            assert_eq!(ring.owner(found), owner);
        }
    }

    #[test]
    fn a_server_of_next_to_no_weight_has_no_points_in_libketama() {
        let nodes = [Node::from("a:1").with_weight(1_000), Node::from("b:1")];
        let ring = Ring::libketama(&nodes).unwrap();
        assert!(ring.owners(0).eq([0]));
    }

    #[test]
    fn names_are_divided_as_nginx_divides_them() {
        for (id, host, port) in [
            ("127.0.0.1:80", "127.0.0.1", "80"),
            ("[::1]:8080", "[::1]", "8080"),
            ("example", "example", ""),
            ("host9", "host9", ""),
            ("host:", "host", ""),
            ("unix:/tmp/a:1", "/tmp/a:1", ""),
            ("", "", ""),
        ] {
            let parts = host_and_port(id.as_bytes());
            assert_eq!(parts, (host.as_bytes(), port.as_bytes()), "{id}");
        }
    }
}
