//! Rules 46 to 48 and the other rules of the trial section.

use super::{Case, Expect::Accepted, Expect::Refused, Expect::Warned, check};

const UNUSED: (&str, &str) = ("UnusedParameter", "/search_space/lr");

#[test]
fn references() {
    check(&[
        Case(
            46,
            &[("trial", "{command: [x, '--lr=${{search_space.lrr}}', '${{ search_space.lr }}']}")],
            Refused(422, &[("UnknownReference", "/trial/command/1")]),
        ),
        Case(
            46,
            &[(
                "trial",
                "{command: [x, ['--lr', '${{lr}}'], '${{inputs.data}}', '${{outputs.m}}', '${{trial.id}}', \
                     '${{search_space.lr}}']}",
            )],
            Refused(
                422,
                &[
                    ("UnknownReference", "/trial/command/1/1"),
                    ("UnknownReference", "/trial/command/2"),
                    ("UnknownReference", "/trial/command/3"),
                    ("UnknownReference", "/trial/command/4"),
                ],
            ),
        ),
        Case(
            46,
            &[("trial", "{command: 'x ${{search_space.lrr}}', environment_variables: {A: '${{search_space.l}}'}}")],
            Refused(
                422,
                &[("UnknownReference", "/trial/command"), ("UnknownReference", "/trial/environment_variables/A")],
            ),
        ),
        Case(
            47,
            &[("trial", "{command: [x, '${{trial.index}}']}")],
            Warned(&[("UnusedParameter", "/search_space/lr")]),
        ),
        Case(
            47,
            &[("trial", "{command: [x, '${{trial.index}}'], environment_variables: {LR: '${{search_space.lr}}'}}")],
            Accepted,
        ),
        // The job died of "can't open file", after a node was asked for.
        Case(
            47,
            &[("trial", "{command: [python, train.py, '${{search_space.lr}}']}")],
            Warned(&[("NoCode", "/trial/command")]),
        ),
        Case(47, &[("trial", "{command: './run.sh ${{search_space.lr}}'}")], Warned(&[("NoCode", "/trial/command")])),
        Case(47, &[("trial", "{command: [sh, -c, 'python train.py']}")], Accepted),
        Case(47, &[("trial", "{command: [python, train.py], prepare: [git, clone, 'file:///x', .]}")], Accepted),
        Case(47, &[("trial", "{command: [x, '${{outputs.model}}'], outputs: [model]}")], Warned(&[UNUSED])),
        Case(
            47,
            &[("trial", "{command: [x], outputs: [model, 'a b', model]}")],
            Refused(422, &[("BadName", "/trial/outputs/1"), ("AmbiguousName", "/trial/outputs/2")]),
        ),
        Case(
            48,
            &[("trial", "{command: [x, '${{search_space.lr']}")],
            Refused(422, &[("TemplateSyntax", "/trial/command/1")]),
        ),
        Case(48, &[("trial", "{command: 'x \"a'}")], Refused(422, &[("TemplateSyntax", "/trial/command")])),
        Case(48, &[("trial", "{command: [x, '; rm -rf $HOME | `a` $(b) $${{c}}']}")], Accepted),
        Case(48, &[("search_space", "{a: {type: choice, values: ['; rm -rf $HOME', '$(reboot)']}}")], Accepted),
    ]);
}

#[test]
fn commands() {
    check(&[
        Case(4, &[("trial", "{}")], Refused(422, &[("Required", "/trial/command")])),
        Case(4, &[("trial", "{command: []}")], Refused(422, &[("Required", "/trial/command")])),
        Case(4, &[("trial", "{command: ''}")], Refused(422, &[("Required", "/trial/command")])),
        Case(4, &[("trial", "{command: ['', a]}")], Refused(422, &[("Required", "/trial/command")])),
        Case(0, &[("trial", "{command: [[a], b]}")], Refused(422, &[("WrongType", "/trial/command")])),
        Case(
            0,
            &[("trial", "{command: [a, {b: 1}, [[c]]]}")],
            Refused(422, &[("WrongType", "/trial/command/1"), ("WrongType", "/trial/command/2/0")]),
        ),
        Case(0, &[("trial", "{command: [a, 1, true, 0.5], prepare: [pip, install]}")], Accepted),
        Case(
            0,
            &[("trial", "{command: [a], prepare: [echo, '${{trial.index}}']}")],
            Refused(422, &[("TemplateSyntax", "/trial/prepare")]),
        ),
    ]);
}

#[test]
fn data_and_environment() {
    check(&[
        Case(
            0,
            &[("trial", "{command: [x], environment_variables: {TRIALOG_X: a, 'A=B': b, N: 5, B: true, L: []}}")],
            Refused(
                422,
                &[
                    ("BadName", "/trial/environment_variables/A=B"),
                    ("WrongType", "/trial/environment_variables/L"),
                    ("ReservedName", "/trial/environment_variables/TRIALOG_X"),
                ],
            ),
        ),
        Case(
            0,
            &[(
                "trial",
                "{command: [x], inputs: {a-b: {uri: 's3://x'}, a_b: {mode: mnt}, '9': {uri: 'file:///x'}}, \
                     outputs: {m: , n: {}, o: 3}}",
            )],
            Refused(
                422,
                &[
                    ("BadName", "/trial/inputs/9"),
                    ("NotOfferedYet", "/trial/inputs/a-b/uri"),
                    ("AmbiguousName", "/trial/inputs/a_b"),
                    ("BadInputMode", "/trial/inputs/a_b/mode"),
                    ("Required", "/trial/inputs/a_b/uri"),
                    ("WrongType", "/trial/outputs/o"),
                ],
            ),
        ),
        Case(
            0,
            &[(
                "trial",
                "{command: [x, '${{inputs.d}}', '${{outputs.m}}', '${{search_space.lr}}'], \
                     inputs: {d: {uri: 'file:///d', mode: download}}, outputs: {m: {}}}",
            )],
            Accepted,
        ),
    ]);
}

#[test]
fn python_environments() {
    check(&[
        Case(
            0,
            &[("trial", "{command: [x], environment: {python: 3.11, requirements: [numpy, 'scikit-learn==1.5']}}")],
            Accepted,
        ),
        Case(
            0,
            &[("trial", "{command: [x], environment: {python: 2.7, requirements: requirements.txt}}")],
            Refused(
                422,
                &[
                    ("BadEnvironment", "/trial/environment/python"),
                    ("BadEnvironment", "/trial/environment/requirements"),
                ],
            ),
        ),
        Case(
            0,
            &[("trial", "{command: [x], environment: {python: 3.x, requirements: [numpy, '', 7]}}")],
            Refused(
                422,
                &[
                    ("BadEnvironment", "/trial/environment/python"),
                    ("BadEnvironment", "/trial/environment/requirements/1"),
                    ("WrongType", "/trial/environment/requirements/2"),
                ],
            ),
        ),
        Case(
            0,
            &[("trial", "{command: [x], code: ./, environment: {python: python3}}")],
            Refused(422, &[("BadCode", "/trial/code"), ("BadEnvironment", "/trial/environment/python")]),
        ),
        Case(
            0,
            &[(
                "trial",
                "{command: [x], code: 'sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff', \
                 environment: {python: /usr/bin/python3}, checkpoint: true}",
            )],
            Accepted,
        ),
    ]);
}

#[test]
fn resources() {
    check(&[
        Case(
            0,
            &[("trial", "{command: [x], resources: {cpu_count: 0, memory_bytes: 0, gpu_count: -1, node_count: 0}}")],
            Refused(
                422,
                &[
                    ("OutOfRange", "/trial/resources/cpu_count"),
                    ("OutOfRange", "/trial/resources/gpu_count"),
                    ("OutOfRange", "/trial/resources/memory_bytes"),
                    ("OutOfRange", "/trial/resources/node_count"),
                ],
            ),
        ),
        Case(0, &[("trial", "{command: [x], resources: {cpu_count: 0.25}}")], Accepted),
        Case(
            3,
            &[("trial", "{command: [x], resources: {cpus: 1}, environment: {conda: x}}")],
            Refused(400, &[("UnknownField", "/trial/environment/conda"), ("UnknownField", "/trial/resources/cpus")]),
        ),
    ]);
}
