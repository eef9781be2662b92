//! Python environments: made before the job that needs one, kept for the next, and never kept in part.

use std::os::unix::fs::PermissionsExt;

use contracts::compute::JobSpec;

use crate::harness::Node;

/// Stands for an interpreter: what it is asked to make it makes at once, unless it cannot.
const INTERPRETER: &str = r#"#!/bin/sh
echo "making $3" >&2
if grep -q broken "$3"; then echo "no such package" >&2; exit 7; fi
mkdir -p "$2/bin"
printf '#!/bin/sh\nexec sh "$@"\n' >"$2/bin/python"
chmod +x "$2/bin/python"
touch "$2/ready"
"#;

#[tokio::test]
async fn an_environment_is_made_once_and_a_failed_one_is_made_again() {
    // A trial that waits for pip each time is slow; one that gets half an environment fails where nobody looks.
    let node = Node::start().await;
    let python = node.folder.join("python3");
    std::fs::write(&python, INTERPRETER).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let spec = |requirement: &str| JobSpec {
        command: ["python", "-c", "command -v python"].map(str::to_owned).to_vec(),
        python: python.display().to_string(),
        requirements: vec![requirement.to_owned()],
        ..JobSpec::default()
    };
    for (job, requirement, is_made) in [("job_a", "numpy", true), ("job_b", "numpy", false), ("job_c", "scipy", true)] {
        node.run(job, spec(requirement)).await;
        let end = node.fake.end(job).await;
        assert_eq!((end.outcome.as_str(), end.stderr_tail.contains("making")), ("completed", is_made), "{end:?}");
    }
    let used = node.fake.log("stdout");
    assert!(used.contains(&format!("{}/environments/", node.folder.display())), "its programs come first: {used}");
    for job in ["job_d", "job_e"] {
        node.run(job, spec("broken")).await;
        let end = node.fake.end(job).await;
        assert_eq!((end.outcome.as_str(), end.phase.as_str(), end.exit_code), ("failed", "prepare", Some(7)));
        assert!(end.stderr_tail.starts_with("making"), "nothing of a failed one is kept: {end:?}");
        assert!(end.stderr_tail.ends_with("no such package\n"), "{end:?}");
    }
}
