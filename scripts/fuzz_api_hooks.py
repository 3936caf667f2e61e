"""Logs schemathesis in. Often, because the requests that it makes up may end the session; as another user once they deleted the account."""

import itertools
import json
import os
import urllib.error
import urllib.request

import schemathesis

users = itertools.count(1)


def login(number):
    body = {"email": f"user{number}@example.com", "password": f"CorrectHorseBattery{number}"}
    request = urllib.request.Request(
        os.environ["API_URL"] + "/v1/auth/login",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["accessToken"]


@schemathesis.auth(refresh_interval=5)
class AccessToken:
    user = next(users)

    def get(self, case, context):
        for _ in range(int(os.environ["SEED_USERS"])):
            try:
                return login(self.user)
            except (urllib.error.HTTPError, KeyError):
                self.user = next(users)
        raise RuntimeError("no user can log in any more")

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}
