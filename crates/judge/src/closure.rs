use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

/// Stands for a closure where something that holds one is printed: shows the name of its type.
pub struct Closure<T>(PhantomData<T>);

impl<T> Closure<T> {
    /// What to print in the place of `_closure`.
    #[must_use]
    pub fn of(_closure: &T) -> Self {
        Self(PhantomData)
    }
}

impl<T> fmt::Debug for Closure<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(type_name::<T>())
    }
}
