"""What earlier discoveries say of nullability, as later comparisons use it."""

from connectory.drift.last_seen import last_seen

SHOP = {"fides_key": "shop", "fides_meta": {"namespace": {"schema": "public"}}, "collections": [{"name": "customer"}]}


def answer(*fields, schema="public"):
    return {"nullable": [{"collection": "customer", "namespace": {"schema": schema}, "fields": list(fields)}]}


def seen(*answers):
    return [[field.path for field in info.fields] for info in last_seen(SHOP, answers)]


def test_the_newest_that_looked_into_the_namespace_counts():
    assert seen(answer("email"), answer("name")) == [[("email",)]]
    assert seen(answer("email", schema="sales"), {"nullable": []}, {}, answer("name")) == [[("name",)]]
    assert seen(answer(), answer("name")) == [[]]
    assert seen() == seen(answer("email", schema="sales")) == []


def test_names_with_dots_stay_apart():
    assert seen(answer("address.zip", ["address.zip"])) == [[("address", "zip"), ("address.zip",)]]
