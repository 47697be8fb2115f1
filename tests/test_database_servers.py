"""Each stand-in for a database answers that database's own driver, and tells its failures apart as the vendor's would."""

import gc
import warnings

import pymongo
import pymysql
import pytest
import redshift_connector
import snowflake.connector
from google.auth.exceptions import RefreshError
from google.cloud import bigquery
from google.oauth2.service_account import Credentials
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from connectory.testing.ports import loopback_addresses
from connectory.testing.processes import ServerFailed
from servers.bigquery.server import BigQueryServer
from servers.mariadb.server import MariaDBServer
from servers.mongodb.server import MongoDBServer
from servers.mssql import odbc
from servers.mssql.server import MSSQLServer
from servers.mysql.server import MySQL8Front
from servers.postgres.tls import PostgresTlsFront
from servers.redshift.server import RedshiftServer, startup_for_postgres
from servers.snowflake.server import SnowflakeServer
from testkit.debian import MARIADB_PACKAGES, ODBC_PACKAGES, unpacked

PASSWORD = "p;w }1%w'ö"


class TestDebian:
    def test_the_server_and_the_odbc_driver_are_unpacked(self):
        assert (unpacked("mariadb", MARIADB_PACKAGES) / "usr/sbin/mariadbd").is_file()
        assert list(unpacked("odbc", ODBC_PACKAGES).glob("usr/lib/*/odbc/libtdsodbc.so"))

    def test_a_package_that_cannot_be_had_is_told_in_apts_words(self, tmp_path, monkeypatch):
        monkeypatch.setattr("testkit.cache.cache_folder", lambda: tmp_path)
        with pytest.raises(ServerFailed, match="Unable to locate package no-such-package"):
            unpacked("nothing", ("no-such-package",))


def mysql(server, **options):
    """One value from one statement, through PyMySQL."""
    defaults = {
        "host": server.host,
        "port": server.port,
        "user": "proof",
        "password": PASSWORD.encode(),
        "database": "proof",
    }
    connection = pymysql.connect(
        **{**defaults, "connect_timeout": 5, "ssl_verify_cert": "ssl_ca" in options, **options}
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_version'")
            return connection.server_version, cursor.fetchone()[1]
    finally:
        connection.close()


def mysql_error(server, **options):
    with pytest.raises(pymysql.Error) as caught:
        mysql(server, **options)
    return caught.value.args[0]


@pytest.fixture(scope="module")
def mariadb(mariadb):
    """The shared server, with a database and its user."""
    mariadb.create_database("proof")
    mariadb.create_user("proof", PASSWORD, database="proof")
    return mariadb


class TestMariaDB:
    def test_it_logs_in_on_every_loopback_address_with_and_without_tls(self, mariadb, certificates):
        for address in loopback_addresses():
            version, protocol = mysql(mariadb, host=address, ssl_disabled=True)
            assert "MariaDB" in version
            assert protocol == ""
            _, protocol = mysql(mariadb, host=address, ssl_ca=str(certificates.ca_file), ssl_verify_identity=True)
            assert protocol.startswith("TLS")

    def test_its_failures_have_their_own_numbers(self, mariadb):
        root = {"user": mariadb.superuser, "password": mariadb.password, "database": "nowhere"}
        assert mysql_error(mariadb, password="wrong") == 1045
        assert mysql_error(mariadb, user="ghost") == 1045
        assert mysql_error(mariadb, user=mariadb.superuser, password="") == 1045
        assert mysql_error(mariadb, **root) == 1049
        assert mysql_error(mariadb, database="nowhere") == 1044

    def test_tls_can_be_required(self, certificates):
        with MariaDBServer(certificate=certificates.server, require_tls=True) as server:
            root = {"user": server.superuser, "password": server.password, "database": None}
            # MariaDB 10.11 says "access denied" here, where MySQL 8 says 3159.
            assert mysql_error(server, **root, ssl_disabled=True) == 1045
            assert mysql(server, **root, ssl_ca=str(certificates.ca_file))


class TestMySQL8:
    def test_the_first_login_is_full_and_the_next_is_fast(self, mariadb):
        with MySQL8Front(mariadb) as server:
            server.create_database("eight")
            server.create_user("eight", PASSWORD, database="eight")
            for _ in range(2):
                version, _ = mysql(server, user="eight", database="eight")
                assert version == "8.0.42"
            assert [login.path for login in server.logins] == ["full, RSA", "fast"]
            assert PASSWORD.encode() not in server.received
            assert mysql_error(server, user="eight", password="wrong") == 1045
            assert mysql_error(server, user="ghost") == 1045
            assert mysql_error(server, user="eight", database="nowhere") == 1044
            root = {"user": server.superuser, "password": server.password}
            assert mysql_error(server, **root, database="nowhere") == 1049

    def test_the_password_goes_through_tls_where_it_is_offered(self, mariadb, certificates):
        with MySQL8Front(mariadb, certificate=certificates.server, require_tls=True) as server:
            root = {"user": server.superuser, "password": server.password, "database": None}
            mysql(server, **root, ssl_ca=str(certificates.ca_file))
            assert [login.path for login in server.logins] == ["full, TLS"]
            assert mysql_error(server, **root, ssl_disabled=True) == 3159
            assert mysql_error(server, **root, ssl_ca=str(certificates.other_ca_file)) == 2003

    def test_a_user_without_a_password_logs_in_without_one(self, mariadb):
        with MySQL8Front(mariadb) as server:
            server.create_user("bare", "", database="proof")
            mysql(server, user="bare", password="")
            assert [login.path for login in server.logins] == ["no password"]
            assert mysql_error(server, user="bare", password="something") == 1045


@pytest.fixture(scope="module")
def mongodb():
    with MongoDBServer() as server:
        fill(server)
        yield server


def fill(server: MongoDBServer):
    server.create_collection("app", "people")
    server.create_user("app", PASSWORD, database="app")


def mongo_collections(server, *, database="app", **options):
    defaults = {"host": server.host, "username": "app", "password": PASSWORD, "authSource": "app"}
    patience = {"directConnection": True, "serverSelectionTimeoutMS": 3000}
    with pymongo.MongoClient(port=server.port, **{**defaults, **patience, **options}) as client:
        return client[database].list_collection_names()


def mongo_error(server, **options):
    with pytest.raises(OperationFailure) as caught:
        mongo_collections(server, **options)
    return caught.value.code


class TestMongoDB:
    def test_it_logs_in_on_every_loopback_address(self, mongodb):
        for address in loopback_addresses():
            assert mongo_collections(mongodb, host=f"[{address}]" if ":" in address else address) == ["people"]

    def test_its_failures_have_their_own_codes(self, mongodb):
        assert mongo_error(mongodb, password="wrong") == 18
        assert mongo_error(mongodb, username="ghost") == 18
        assert mongo_error(mongodb, authSource="elsewhere") == 18
        assert mongo_error(mongodb, database="secret") == 13
        with pymongo.MongoClient(mongodb.host, mongodb.port, directConnection=True) as nobody:
            with pytest.raises(OperationFailure) as caught:
                nobody["app"].list_collection_names()
            assert caught.value.code == 13

    def test_an_unknown_database_reads_as_empty(self, mongodb):
        root = {"username": mongodb.superuser, "password": mongodb.password, "authSource": "admin"}
        assert mongo_collections(mongodb, **root, database="nowhere") == []

    def test_with_a_certificate_it_takes_tls_only(self, certificates):
        with MongoDBServer(certificate=certificates.server) as server:
            fill(server)
            assert mongo_collections(server, tls=True, tlsCAFile=str(certificates.ca_file)) == ["people"]
            with pytest.raises(ServerSelectionTimeoutError, match="CERTIFICATE_VERIFY_FAILED"):
                mongo_collections(server, tls=True, tlsCAFile=str(certificates.other_ca_file))
            with pytest.raises(ServerSelectionTimeoutError):
                mongo_collections(server)


@pytest.fixture(scope="module")
def redshift(certificates):
    with RedshiftServer(certificate=certificates.server) as server:
        server.create_user("app", PASSWORD)
        server.create_database("app", owner="app")
        yield server


def redshift_select_one(server, **options):
    defaults = {"host": server.host, "port": server.port, "user": "app", "password": PASSWORD, "database": "app"}
    with (
        redshift_connector.connect(**{**defaults, "timeout": 5, "ssl": False, **options}) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]


def redshift_sqlstate(server, **options):
    return redshift_error(server, **options)[0]["C"]


def redshift_error(server, **options):
    """What the driver's exception carries; the exception itself is dropped, for it holds a socket the driver left open."""
    try:
        redshift_select_one(server, **options)
    except redshift_connector.Error as error:
        details = [part if isinstance(part, dict) else repr(part) for part in error.args]
    else:
        pytest.fail("redshift_connector logged in")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return details


class TestRedshift:
    def test_its_driver_logs_in(self, redshift):
        assert redshift_select_one(redshift) == 1
        assert "client_protocol_version" in redshift.front.startups[-1].parameters
        assert PASSWORD.encode() not in redshift.front.received

    def test_its_failures_have_their_own_sqlstates(self, redshift):
        assert redshift_sqlstate(redshift, password="wrong") == "28P01"
        assert redshift_sqlstate(redshift, user="ghost") == "28P01"
        assert redshift_sqlstate(redshift, database="nowhere") == "3D000"

    @pytest.mark.filterwarnings("ignore:ssl:DeprecationWarning")  # redshift_connector's own
    def test_tls_is_verified(self, redshift, certificates, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))  # the driver trusts OpenSSL's default file
        verified = {"ssl": True, "sslmode": "verify-full", "host": "localhost"}
        assert redshift_select_one(redshift, **verified) == 1
        assert redshift.front.startups[-1].encrypted
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.other_ca_file))
        assert "CERTIFICATE_VERIFY_FAILED" in str(redshift_error(redshift, **verified))

    def test_a_second_front_can_require_tls(self, redshift, certificates):
        options = {"mode": "required", "rewrite": startup_for_postgres}
        with PostgresTlsFront(redshift.backend, certificates.server, **options) as front:
            assert redshift_sqlstate(front) == "28000"


MSSQL_PASSWORD = "p w'ö%1"  # FreeTDS cannot carry braces


@pytest.fixture(scope="module")
def pyodbc():
    odbc.load()
    import pyodbc

    pyodbc.pooling = False
    return pyodbc


def mssql_with_users(**options):
    server = MSSQLServer(**options).start()
    server.create_database("App")
    server.create_database("closed")
    server.create_user("app", MSSQL_PASSWORD, databases=["App"])
    return server


@pytest.fixture(scope="module")
def mssql(certificates):
    server = mssql_with_users(certificate=certificates.server)
    yield server
    server.stop()


class Odbc:
    """pyodbc with FreeTDS to one server."""

    def __init__(self, pyodbc, server):
        self._pyodbc, self._server = pyodbc, server

    def run(self, statement, *arguments, more="", **options):
        keys = {"DRIVER": "{FreeTDS}", "SERVER": self._server.host, "PORT": self._server.port, "TDS_Version": "7.4"}
        keys |= {"UID": "app", "PWD": MSSQL_PASSWORD, "DATABASE": "app", **options}
        connection = self._pyodbc.connect(";".join(f"{key}={value}" for key, value in keys.items()), timeout=5)
        try:
            cursor = connection.cursor()
            cursor.execute(statement, *arguments)
            rows = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
            connection.commit()
            return rows
        finally:
            connection.close()

    def error(self, statement="SELECT 1", **options):
        with pytest.raises(self._pyodbc.Error) as caught:
            self.run(statement, **options)
        return caught.value.args[1]


class TestMSSQL:
    def test_a_login_is_encrypted_on_every_loopback_address(self, pyodbc, mssql):
        client = Odbc(pyodbc, mssql)
        for address in loopback_addresses():
            assert client.run("SELECT 1", SERVER=address, Encryption="require") == [(1,)]
            assert mssql.logins[-1][:2] == ("app", "app")
            assert mssql.logins[-1].encrypted == "yes"
        client.run("SELECT 1", Encryption="request")
        assert all(login.encrypted != "no" for login in mssql.logins)

    def test_databases_and_schemas_can_be_asked_for(self, pyodbc, mssql):
        client = Odbc(pyodbc, mssql)
        question = (
            "SELECT DB_NAME(), HAS_DBACCESS(?), HAS_DBACCESS('closed'), HAS_DBACCESS('nowhere'), SCHEMA_ID('nowhere')"
        )
        assert client.run(question, "App") == [("app", 1, 0, None, None)]
        assert ("app",) in client.run("SELECT name FROM sys.databases")
        assert "Microsoft SQL Server 2022" in client.run("SELECT @@VERSION")[0][0]

    def test_values_come_back_as_they_were_given(self, pyodbc, mssql):
        client = Odbc(pyodbc, mssql)
        client.run(
            "CREATE TABLE [dbo].[People] (id INT IDENTITY(1,1) PRIMARY KEY,"
            " email NVARCHAR(80), size FLOAT, ok BIT, note NVARCHAR(MAX))"
        )
        values = ("o'neil@x.example", 1.5, True, "ö漢 100% " * 500)
        client.run("INSERT INTO people (email, size, ok, note) VALUES (?, ?, ?, ?)", values)
        assert client.run("SELECT TOP 5 email, size, ok, note FROM PEOPLE WHERE email = ?", values[0]) == [values]

    def test_its_failures_have_their_own_numbers(self, pyodbc, mssql):
        client = Odbc(pyodbc, mssql)
        mssql.execute("CREATE TABLE dbo.secret (id int)", database="app")
        assert "(18456)" in client.error(PWD="wrong")
        assert "(18456)" in client.error(UID="ghost")
        assert "(18456)" in client.error(DATABASE="nowhere")  # FreeTDS shows the last error only; the first is 4060
        assert "(911)" in client.error("USE nowhere")
        assert "(916)" in client.error("USE closed")
        assert "(208)" in client.error("SELECT * FROM nothing")
        assert "(229)" in client.error("SELECT * FROM secret")
        assert "(102)" in client.error("SELEC 1")

    def test_encryption_can_be_required_or_not_offered(self, pyodbc, certificates):
        server = mssql_with_users(certificate=certificates.server, encryption="required")
        try:
            Odbc(pyodbc, server).run("SELECT 1")
            assert server.logins[-1].encrypted == "yes"
            Odbc(pyodbc, server).error(Encryption="off")
            assert len(server.logins) == 1
        finally:
            server.stop()
        server = mssql_with_users()
        try:
            Odbc(pyodbc, server).error(Encryption="require")
            assert server.logins == []
            Odbc(pyodbc, server).run("SELECT 1", Encryption="off")
            assert server.logins[-1].encrypted == "no"
        finally:
            server.stop()


class TestSnowflake:
    def test_its_driver_logs_in_and_knows_a_wrong_password(self):
        """A wrong password has an error number of its own."""
        with SnowflakeServer() as server:
            server.create_user("APP", PASSWORD)
            address = {"account": server.account, "host": server.host, "port": server.port, "protocol": "http"}
            address |= {"user": "APP", "login_timeout": 5, "enable_server_session_keep_alive_auto_detection": True}
            with (
                snowflake.connector.connect(**address, password=PASSWORD, database="APP") as connection,
                connection.cursor() as cursor,
            ):
                assert cursor.execute("SELECT CURRENT_DATABASE()").fetchone() == ("APP",)
            with pytest.raises(snowflake.connector.Error) as caught:
                snowflake.connector.connect(**address, password="wrong")
            assert caught.value.errno == 390100


class TestBigQuery:
    def test_its_client_runs_a_query_with_a_token(self):
        """It gets the token for the key file."""
        with BigQueryServer() as server:
            account = server.create_account("app")
            with bigquery_client(server, account.key_file(token_uri=server.token_uri)) as client:
                assert [tuple(row) for row in client.query_and_wait("SELECT 1", api_timeout=5, wait_timeout=5)] == [
                    (1,)
                ]
            assert ("POST", "/token") in server.requests
            stranger = account.key_file(token_uri=server.token_uri, client_email="stranger@example.com")
            with bigquery_client(server, stranger) as client, pytest.raises(RefreshError, match="account not found"):
                client.query_and_wait("SELECT 1", api_timeout=5, wait_timeout=5)


def bigquery_client(server, key_file):
    credentials = Credentials.from_service_account_info(key_file, scopes=["https://www.googleapis.com/auth/bigquery"])
    return bigquery.Client(
        project=server.project, credentials=credentials, client_options={"api_endpoint": server.endpoint}
    )
