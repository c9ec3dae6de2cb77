//! Everything that ends up in what others build of ours has a licence that lets them.

use std::collections::BTreeMap;

use super::spdx;
use crate::Result;
use crate::workspace::{Package, Workspace};

/// What may be linked into a program of any licence, open or closed, by keeping a notice.
const ALLOWED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks the dependencies of all published default members, whatever the features and platform.
///
/// # Errors
///
/// Each package without a licence that is allowed, by name, version and licence.
pub(super) fn run() -> Result {
    let workspace = Workspace::load_with_dependencies()?;
    let published: Vec<_> = workspace
        .default_members()
        .filter(|member| member.is_published())
        .collect();
    let shipped = workspace.shipped_with(&published);
    let refused: Vec<_> = shipped
        .iter()
        .filter_map(|package| refuse(package))
        .collect();
    if !refused.is_empty() {
        let list = refused.join("\n  ");
        let allowed = ALLOWED.join(", ");
        return Err(format!("not allowed:\n  {list}\nallowed are: {allowed}").into());
    }
    let mut counts = BTreeMap::<&str, usize>::new();
    for package in &shipped {
        *counts
            .entry(package.license.as_deref().unwrap_or(""))
            .or_default() += 1;
    }
    for (licence, count) in counts {
        println!("{count:5}  {licence}");
    }
    Ok(())
}

/// What is wrong with the licence of `package`, if anything.
fn refuse(package: &Package) -> Option<String> {
    let name = format!("{} {}", package.name, package.version);
    let Some(licence) = package.license.as_deref() else {
        return Some(format!("{name}: its manifest names no licence"));
    };
    match spdx::is_met(licence, &|name| ALLOWED.contains(&name)) {
        Ok(true) => None,
        Ok(false) => Some(format!("{name}: {licence}")),
        Err(error) => Some(format!(
            "{name}: {licence:?} is no licence expression: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::sample;

    #[test]
    fn a_refusal_names_the_package_its_version_and_licence() {
        let mut package = sample().packages.swap_remove(0);
        assert_eq!(refuse(&package), None);
        package.license = Some("MIT AND GPL-3.0-only".into());
        assert_eq!(
            refuse(&package).unwrap(),
            "core 1.0.0: MIT AND GPL-3.0-only"
        );
        package.license = Some("MIT AND".into());
        assert!(
            refuse(&package)
                .unwrap()
                .contains("is no licence expression")
        );
        package.license = None;
        assert!(refuse(&package).unwrap().ends_with("names no licence"));
    }
}
