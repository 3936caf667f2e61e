"""Logs schemathesis in. Often, because the requests that it makes up may end the session."""

import json
import os
import urllib.request

import schemathesis


@schemathesis.auth(refresh_interval=5)
class AccessToken:
    def get(self, case, context):
        body = {"email": os.environ["ADMIN_EMAIL"], "password": os.environ["ADMIN_PASSWORD"]}
        request = urllib.request.Request(
            os.environ["API_URL"] + "/v1/auth/login",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["accessToken"]

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}
