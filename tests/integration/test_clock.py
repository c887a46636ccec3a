"""Our clock and the CA's do not agree."""

from fake import pki


def test_a_clock_that_jumped_ahead_renews_nothing(everleaf, ca):
    ca.not_before = pki.now() - 80 * pki.DAY
    everleaf.certificate("www").renew()
    ca.not_before = None
    ca.clock_offset = -40 * 86400
    orders = ca.count("new-order")
    error = everleaf.renew("--due", expect=1).one["error"]
    assert error["step"] == "clock" and "ahead of the CA" in error["text"] and "set the clock" in error["hint"]
    assert ca.count("new-order") == orders and everleaf.generation() == 1

    ca.clock_offset = 0  # ours was right
    assert everleaf.renew("www").one["result"] == "renewed"


def test_what_is_due_for_other_reasons_does_not_wait_for_the_clock(everleaf, ca):
    ca.clock_offset = -40 * 86400
    everleaf.certificate("www")
    assert everleaf.renew().one["result"] == "renewed"
    assert everleaf.renew("www", "--force").one["generation"] == 2
