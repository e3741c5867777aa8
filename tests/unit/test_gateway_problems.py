"""The gateway's one table of errors covers the Executor's, and its two bodies say the same."""

from __future__ import annotations

import inspect

import grpc
import pytest
from docarray import Document, DocumentArray
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest

from clip_gateway.problems import GRPC_STATUS, INTERNAL, KINDS, OF_EXECUTORS, Problem, problem_of
from clip_image_flow import errors
from clip_wire.errors import BadDocument, BadParameter

REQUEST_ERRORS = {
    name
    for name, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, errors.RequestError) and error is not errors.RequestError
}


def failed(name: str, *args: str) -> DataRequest:
    """The answer of an executor that raised an error of this name."""
    answer = DataRequest()
    answer.data.docs = DocumentArray([Document(blob=b"private")])
    answer.status.code = jina_pb2.StatusProto.ERROR
    answer.status.exception.name = name
    answer.status.exception.args.extend(args)
    answer.status.exception.executor = "CLIPImageEncoder"
    answer.status.exception.stacks.append("Traceback in /private/path.py")
    return answer


def test_every_error_of_the_executor_has_its_codes() -> None:
    assert OF_EXECUTORS.keys() == REQUEST_ERRORS


def test_the_executors_errors_are_described_in_its_own_words() -> None:
    for error in (
        errors.BadDocument("broken", "cat-7", "chunk 2"),
        errors.BadParameter("size"),
        errors.TooLarge("a", "b"),
    ):
        problem = problem_of(failed(type(error).__name__, *error.args), OF_EXECUTORS)
        assert problem is not None
        assert problem.description == repr(error)


@pytest.mark.parametrize("name", ["RuntimeError", "", "Unavailable", "Unauthenticated", "InternalError"])
def test_what_an_executor_may_not_raise_is_our_fault(name: str) -> None:
    problem = problem_of(failed(name, "/private/path"), OF_EXECUTORS)
    assert problem is not None
    assert (problem.name, problem.detail, problem.kind.status) == ("InternalError", INTERNAL, 500)


def test_success_is_no_problem() -> None:
    assert problem_of(DataRequest()) is None


def test_over_grpc_an_error_has_no_documents_and_no_stacks() -> None:
    request = failed("BadDocument", "broken", "cat-7", "chunk 2")
    request.header.request_id = "an-id"
    problem = problem_of(request)
    assert problem is not None
    answer = problem.answer(request)
    assert answer.header.request_id == "an-id"
    assert (len(answer.docs), list(answer.status.exception.stacks)) == (0, [])
    assert list(answer.status.exception.args) == ["broken", "cat-7", "chunk 2"]
    assert answer.status.exception.executor == "CLIPImageEncoder"
    again = problem_of(answer)
    assert again is not None
    assert again.body("id") == problem.body("id")


def test_the_http_body_is_problem_details_beside_jinas_header() -> None:
    body = Problem(BadDocument, "broken", "cat-7", "chunk 2").body("an-id")
    header = body.pop("header")
    assert body == {
        "type": "urn:clip-image-flow:problem:BadDocument",
        "title": "Bad document",
        "status": 400,
        "detail": "broken",
        "document_id": "cat-7",
        "place": "chunk 2",
        "request_id": "an-id",
    }
    assert header["requestId"] == "an-id"
    assert header["status"]["description"] == "BadDocument: document 'cat-7', chunk 2: broken"
    assert "document_id" not in Problem(BadParameter, "size").body("an-id")


def test_only_what_may_pass_later_says_when() -> None:
    later = {name for name, kind in KINDS.items() if kind.retry_after}
    assert later == {name for name, kind in KINDS.items() if kind.status in (429, 503)}


def test_grpc_statuses_are_for_what_refuses_a_whole_call() -> None:
    assert {kind.__name__: status for kind, status in GRPC_STATUS.items()} == {
        "Unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
        "TooManyRequests": grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Unavailable": grpc.StatusCode.UNAVAILABLE,
    }
