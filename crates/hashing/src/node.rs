use std::fmt;

/// One of those among which keys are shared out: who it is, and how large its share is.
///
/// # Examples
///
/// ```
/// use stanchion_hashing::Node;
///
/// let large = Node::new("10.0.0.7:11211").with_weight(3);
/// assert_eq!(large.weight(), 3);
/// assert_eq!(Node::from("a"), Node::new(b"a"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Node<'a> {
    id: &'a [u8],
    weight: u32,
}

impl<'a> Node<'a> {
    /// The node `id`, with a weight of 1.
    ///
    /// The id decides which keys the node owns, so it must be what stays when the node restarts or
    /// moves: a name, say, or an address if that is what identifies it.
    pub fn new<I: AsRef<[u8]> + ?Sized>(id: &'a I) -> Self {
        Self {
            id: id.as_ref(),
            weight: 1,
        }
    }

    /// Its share of the keys, in proportion to the weights of the others. Default: 1.
    ///
    /// A node of weight 0 owns nothing, and keeps its place in the slice.
    #[must_use]
    pub const fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> &'a [u8] {
        self.id
    }

    /// Its share.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.weight
    }
}

impl<'a> From<&'a str> for Node<'a> {
    fn from(id: &'a str) -> Self {
        Self::new(id)
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, weight } = self;
        write!(f, "Node(\"{}\", weight {weight})", id.escape_ascii())
    }
}
